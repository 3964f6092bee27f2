"""The elements of a report, one function each: from what is known of a sweep to tables and charts."""
