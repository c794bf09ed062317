"""Lists the commands: `python -m harness`, or `condensed-memories` once it is installed.

condensed-memories continual --dataset cifar100 --steps 5       the same as python -m harness.continual ...
"""

import ast
import os
import runpy
import sys
from pathlib import Path

from search_spaces.names import unknown

COMMAND = "__main__.py"


def commands() -> dict[str, str]:
    """Every command of this package, with the first line of its docstring."""
    files = sorted(Path(__file__).parent.glob(f"*/{COMMAND}"))
    return {file.parent.name: (ast.get_docstring(ast.parse(file.read_text())) or "").split("\n")[0] for file in files}


def main() -> None:
    """Run the command that is named first, or list all of them."""
    try:
        _main()
    except BrokenPipeError:  # the reader of the list, such as `| head`, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _main() -> None:
    known = commands()
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help", "--list"):
        print("usage: python -m harness.COMMAND --help, or condensed-memories COMMAND --help", "", sep="\n")
        width = max(map(len, known))
        print(*(f"  {name:{width}}  {said}" for name, said in known.items()), sep="\n", flush=True)
        return
    name = sys.argv.pop(1)
    if name not in known:
        print(f"error: {unknown('command', name, known)}", file=sys.stderr)
        sys.exit(2)
    # As `python -m harness.NAME` does it, so that workers can repeat the command line.
    runpy.run_module(f"harness.{name}", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
