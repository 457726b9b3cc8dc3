"""Native libraries and data that are published as Python wheels, used without Python."""

def _pypi_wheels_impl(ctx):
    script = ctx.path(Label("//third_party/pypi:unpack_wheels.sh"))
    ctx.report_progress("downloading and unpacking wheels (about 600 MB for libtorch, once per machine)")
    result = ctx.execute([script, ctx.path(ctx.attr.requirements)], timeout = 3000)
    if result.return_code:
        fail("wheels of %s: %s" % (ctx.attr.requirements, result.stderr))
    folder = ctx.path(result.stdout.strip())
    for entry in folder.readdir():
        ctx.symlink(entry, entry.basename)
    ctx.symlink(ctx.attr.build_file, "BUILD.bazel")

pypi_wheels = repository_rule(
    implementation = _pypi_wheels_impl,
    attrs = {
        "requirements": attr.label(mandatory = True, doc = "pip requirements with one --hash each"),
        "build_file": attr.label(mandatory = True),
    },
    environ = ["URSA_CACHE", "HOME"],
    doc = "Wheels pinned by hash, unpacked once per machine into ~/.cache/ursa/wheels and linked from there.",
)
