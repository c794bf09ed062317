"""Export memories: folders of images, or the `.pt` file that other projects publish.

    python -m harness.export out/memories/*.safetensors                      OUT/NAME/train/CLASS/00000.png
    python -m harness.export memory.safetensors --test                       with test images: a data set, folder:PATH
    python -m harness.export memory.safetensors --format huggingface         data/train/CLASS/00000.png and a card
    python -m harness.export memory.safetensors --format pt                  [images, labels], exact

Networks are trained on normalised pixels that no picture can hold: in a folder they are clamped to black and white and
rounded to 8 bits, and the command says how many values were clamped. A `.pt` file keeps pixels as they are, and soft
labels too. A folder or file that exists is never overwritten.
"""

from harness.core.command import command
from harness.export.flags import Export


def main(config: Export) -> None:
    """Run the command. Raises ValueError for whatever a user can get wrong."""
    from harness.export.exporting import export

    return export(config)


if __name__ == "__main__":
    command(Export, main, __doc__)
