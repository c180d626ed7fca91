"""A database backend with a schema for each tenant: what recording uses of django-tenants', and no more."""
