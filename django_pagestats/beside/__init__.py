"""Numbers beside the content: those of an object's page where that object is listed and edited; docs/beside.md.

`addresses` says which page an object has, `recent` which days are meant, `lists` has the numbers of many objects at
once, `ordering` puts a queryset in their order, `boxes` has those of one. Its doors are the admin and Wagtail's.
"""
