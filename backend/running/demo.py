"""The demo's images: generated cell fields, and one real micrograph."""
