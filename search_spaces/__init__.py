"""Networks: the parameterised ConvNet and the classic architectures in their CIFAR forms."""
