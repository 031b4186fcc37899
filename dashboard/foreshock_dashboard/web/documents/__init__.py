"""Documents served or written as a whole: post-mortems and runbooks."""
