"""Schemas of the API: requests are checked against them, OpenAPI describes answers with them.

Embeddings and sample keys, which may be millions of numbers, have schemas for OpenAPI only; numpy
checks them (:mod:`service.requests.embeddings`). Answers are not validated when they are sent;
tests compare them with their schemas.
"""
