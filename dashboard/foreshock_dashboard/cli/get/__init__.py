"""`foreshock get` and `foreshock status`: lists from a hub or a recording, one module for each subject.

Imports: `cli`, `model`, `render`, `web.pages.contention`, `web.pages.cost`, `web.state`.
"""
