"""The dashboard: what it asks, and what it makes of the answers. Its doors are the admin and a view.

`ranges` and `comparing` say which days, `state` how a URL says so; `series` asks for the points of a chart.
"""
