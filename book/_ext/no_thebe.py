"""Keep Thebe out of the pages: it runs cells on a server far away, and this book works without the network.

Jupyter Book always loads `sphinx_thebe`, which writes its constants into every page twice; browsers report the
second as an error.
"""


def drop_thebe(app, pagename, templatename, context, doctree):
    """Remove the scripts of Thebe from the list of a page."""
    context["script_files"] = [
        script
        for script in context.get("script_files", [])
        if "thebe" not in (getattr(script, "attributes", {}).get("body") or f"{script}").lower()
    ]


def setup(app):
    """Register with Sphinx."""
    app.connect("html-page-context", drop_thebe)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
