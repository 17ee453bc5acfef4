"""Changes of the tables from version to version, applied by Alembic."""
