"""Makes statements about images whose objects are known, and finds which of them are true."""
