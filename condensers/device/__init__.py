"""What works on the device: images, draws, augmentation, training, chunks and threads."""
