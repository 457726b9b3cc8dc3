"""Libraries of which a test can have a copy with bugs on purpose (base/planted_bug.h)."""

def cc_library_with_bugs(name, deps = [], buggy_deps = [], testonly = False, tags = [], **kwargs):
    """A cc_library, and beside it NAME_with_bugs: the same sources with URSA_PLANTED_BUGS defined.

    Whatever depends on a copy must depend on copies alone, or two of one library meet in one program: `buggy_deps` are
    the dependencies that have copies.
    """
    native.cc_library(
        name = name,
        deps = deps + buggy_deps,
        tags = tags,
        testonly = testonly,
        **kwargs
    )
    native.cc_library(
        name = name + "_with_bugs",
        testonly = True,
        local_defines = ["URSA_PLANTED_BUGS"],
        tags = tags + ["manual"],
        deps = deps + [dep + "_with_bugs" if ":" in dep else dep + ":" + dep.split("/")[-1] + "_with_bugs" for dep in buggy_deps],
        **kwargs
    )
