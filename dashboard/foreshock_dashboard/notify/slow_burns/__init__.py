"""Messages about slow burns: a group of them once, again when a date moves decisively or more join, and its end.

`news` says what is worth a message, `groups` which share one, and `messages` which is due."""
