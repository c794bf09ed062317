"""What `--list` prints: every name a flag takes, from the registries themselves."""


def print_names() -> None:
    """Condensers, data sets, networks and protocols, one a line."""
    from condensers import registry
    from harness.protocols import PROTOCOLS
    from scenarios.datasets import DATASETS
    from search_spaces.registry import EXAMPLES

    _section("Condensers (any recipe takes +TERM[:WEIGHT], such as dm+sm+ridge:30)", registry.names())
    _section("Data sets", [(name, source.description) for name, source in DATASETS.items()])
    _section("Networks (ConvNet-W{width}-D{depth}-{norm}-{activation}-{pooling})", list(EXAMPLES.items()))
    _section("Protocols", [(name, str(protocol).partition("(")[2][:-1]) for name, protocol in PROTOCOLS.items()])


def _section(title: str, rows: list[tuple[str, str]]) -> None:
    width = max(len(name) for name, _ in rows)
    print(title, *(f"  {name:{width}}  {text}" for name, text in rows), "", sep="\n")
