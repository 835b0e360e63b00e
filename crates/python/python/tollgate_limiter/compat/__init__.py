"""The names of other packages, for programs of which no more than an import is to change."""
