"""What PyInstaller cannot see: plugins are found by metadata, and imported by the names in it."""

from importlib.metadata import entry_points

from PyInstaller.utils.hooks import collect_data_files, collect_submodules, copy_metadata

_NOT_NEEDED = ("strongroom.cli", "strongroom.integrations", "strongroom.testing")
"""Parts of core that a program has to import itself; PyInstaller sees such imports."""

_points = [*entry_points(group="strongroom"), *entry_points(group="strongroom.commands")]

datas = []
for _name in sorted({"strongroom-core", *(one.dist.name for one in _points if one.dist is not None)}):
    datas += copy_metadata(_name)
hiddenimports = []
for _package in sorted({"strongroom", *(one.module.partition(".")[0] for one in _points)}):
    hiddenimports += collect_submodules(_package, filter=lambda name: not name.startswith(_NOT_NEEDED))
    datas += collect_data_files(_package, excludes=["**/*.py", "**/*.pyi"])
