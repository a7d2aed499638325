"""What a recorded trace says of a late wake-up: events, one clock, where time went.  Pure."""
