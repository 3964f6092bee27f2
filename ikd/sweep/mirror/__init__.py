"""A sweep as its tracker shows it."""
