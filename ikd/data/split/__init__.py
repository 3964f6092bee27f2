"""Dividing a data set into parts that have nothing in common."""

from ikd.data.split.split import DataSplit, PartMade, parse_shares, split_dataset

__all__ = ["DataSplit", "PartMade", "parse_shares", "split_dataset"]
