"""Models that stay apart, and what decides which of them answers.

| names | what |
| --- | --- |
"""

__all__: list[str] = []
