"""What leaves the notebook: a model that answers by itself, on a page and on a phone.

Notebook: 10_deploy.
"""
