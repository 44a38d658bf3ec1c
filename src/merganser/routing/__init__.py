"""Models that stay apart, and what decides which of them answers.

| names | what |
| --- | --- |
| `merganser.routing.requests` | request by request: contracts, experts, a router and its dispatcher |
"""

__all__: list[str] = []
