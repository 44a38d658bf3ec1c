"""Other tools' files and services, read and written; each tool in a package of its own."""
