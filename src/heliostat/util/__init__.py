"""Small tools above Core, for users and for the libraries alike.

`progress` shows how far long work has come.

Nothing is imported here: name the module you need (`from heliostat.util import progress`).
"""
