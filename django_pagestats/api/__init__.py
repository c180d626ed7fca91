"""The read API: the questions of `stats` over HTTP, as JSON and CSV; docs/api.md.

`parameters` and `operations` describe it once: what is parsed and refused, what answers have in them, and the OpenAPI
document are all made from that.
"""
