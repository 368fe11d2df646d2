"""What runs inside the loader's own environment: the standard library and that loader, nothing of ckptdoctor.

The files are started by path (``__main__``) under the package name ``ckptdoctor_probe``, so they import
each other relatively and none of them hides a library.
"""
