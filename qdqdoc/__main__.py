"""Let ``python -m qdqdoc`` do what ``qdqdoc`` does."""

from qdqdoc.cli import main

main()
