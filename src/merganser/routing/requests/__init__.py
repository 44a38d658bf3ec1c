"""Which expert answers which request: contracts, experts, the router and the dispatcher."""

__all__: list[str] = []
