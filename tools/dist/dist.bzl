"""One folder, and one tarball, with everything of Ursa that another machine needs."""

def _ursa_dist_impl(ctx):
    folder = ctx.actions.declare_directory(ctx.label.name)
    runfiles = [p[DefaultInfo].default_runfiles.files for p in ctx.attr.programs]
    arguments = ctx.actions.args()
    arguments.add(folder.path)
    arguments.add_all(ctx.files.programs)
    arguments.add("--")
    arguments.add_all(ctx.files.plugins)
    arguments.add("--")
    arguments.add_all(ctx.files.share)
    ctx.actions.run(
        outputs = [folder],
        inputs = depset(ctx.files.programs + ctx.files.plugins + ctx.files.share, transitive = runfiles),
        executable = ctx.file._assemble,
        arguments = [arguments],
        mnemonic = "UrsaDist",
        progress_message = "Assembling %s" % ctx.label,
        execution_requirements = {"no-sandbox": "1", "no-cache": "1"},
    )
    return [DefaultInfo(files = depset([folder]))]

ursa_dist = rule(
    implementation = _ursa_dist_impl,
    attrs = {
        "programs": attr.label_list(mandatory = True, doc = "go to bin/, the shared libraries that they need to lib/"),
        "plugins": attr.label_list(allow_files = True, doc = "go to lib/; what they need is the other machine's to have"),
        "share": attr.label_list(allow_files = True, doc = "files that go to share/"),
        "_assemble": attr.label(default = "//tools/dist:assemble.sh", allow_single_file = True),
    },
    doc = "A folder bin/, lib/, share/ that runs on any x86-64 Linux with a C library at least as new as this one's.",
)

def _tarball_impl(ctx):
    tarball = ctx.actions.declare_file(ctx.label.name)
    ctx.actions.run_shell(
        outputs = [tarball],
        inputs = ctx.files.folder,
        # The same content gives the same bytes.
        command = "tar --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -C \"$2\" --transform 's,^\\.,ursa,' -c . " +
                  "| gzip -n -6 > \"$1\"",
        arguments = [tarball.path, ctx.file.folder.path],
        mnemonic = "UrsaTarball",
        execution_requirements = {"no-sandbox": "1", "no-cache": "1"},
    )
    return [DefaultInfo(files = depset([tarball]))]

ursa_tarball = rule(
    implementation = _tarball_impl,
    attrs = {"folder": attr.label(mandatory = True, allow_single_file = True)},
)
