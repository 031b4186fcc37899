"""How a chart is drawn, for any page: lines, text, theme, SVG.

Imports: `model`, `render.words`, `web.state`.
"""
