"""The compiler's one setting for every stage of the day: Numba, cached on disk, strict floating point.

What is kept on disk of a function (`envs.network.compiler.cache`) depends on the functions it calls, in *other* files,
too. The folder therefore carries a hash of all sources of `envs.network`: any edit gives a fresh one, and nobody runs
yesterday's kernel. `fastmath` stays off, so that a trajectory is bit-equal alone, in a batch of any
size and on any number of threads (model §2).
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
import numpy as np
from llvmlite.binding import Linkage
from numba.core import config
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_lock import global_compiler_lock
from numba.core.compiler_machinery import register_pass
from numba.core.registry import CPUDispatcher
from numba.core.typed_passes import NativeLowering

from fabmesh.envs.errors import FabmeshError
from fabmesh.envs.network.compiler.cache import KeptFunction, cache_folder
from fabmesh.envs.network.compiler.checks import CHECKED, CheckedLower

F = TypeVar("F", bound=Callable[..., Any])


@cache
def _build() -> str:
    """Names what compiled code depends on, beside the file of the function itself."""
    versions = f"{numba.__version__} {np.__version__} {sys.version}"
    digest = hashlib.sha256((f"{versions} checked" if CHECKED else versions).encode())
    for source in sorted(Path(__file__).parents[1].rglob("*.py")):
        digest.update(source.read_bytes())
    return f"numba-{digest.hexdigest()[:16]}"


def _require_compiler() -> None:
    if config.DISABLE_JIT:
        raise FabmeshError(
            "NUMBA_DISABLE_JIT is set, but the simulation only runs compiled: unset it; "
            "FABMESH_CHECKED=1 compiles checks of every index and number into it"
        )


@cache
def announce_compilation() -> None:
    """Say on stderr, once, that the first day will take long, if the compiled day is not in this machine's cache.

    Raises:
        FabmeshError: If Numba's compiler is switched off.
    """
    _require_compiler()
    folder = cache_folder(_build())
    if folder is None or not any(folder.glob("day.run_copies*.nbc")):
        text = "compiling the simulation: once per machine and version, a minute or two ..."
        print(text, file=sys.stderr, flush=True)


class _PartLibrary(JITCodeLibrary):  # type: ignore[misc]
    """The code of a function that is linked into its callers: neither optimised nor emitted on its own."""

    def finalize(self) -> None:
        """Joins the code with that of what it calls."""
        self._raise_if_finalized()
        for library in dict.fromkeys(self._linking_libraries):
            self._reload_init.update(library._reload_init)
            self._final_module.link_in(library._get_module_for_linking(), preserve=True)
        self._finalized = True


class _Lowering(NativeLowering):  # type: ignore[misc]
    """Numba's own lowering, with checks if they are asked for."""

    @property
    def lowering_class(self) -> Any:
        """What writes the LLVM code."""
        return CheckedLower if CHECKED else super().lowering_class


@register_pass(mutates_CFG=True, analysis_only=False)
class _PartLowering(_Lowering):
    """Translates a part to LLVM and makes it known to its callers; there is no machine code to call."""

    _name = "part_lowering"

    def run_pass(self, state: Any) -> bool:
        """Numba's own lowering into a library of ours."""
        state.library = _PartLibrary(state.targetctx.codegen(), state.func_id.func_qualname)
        super().run_pass(state)
        lowered = state["cr"]._replace(cfunc=object())  # the name under which callers look it up
        state.targetctx.insert_user_function(lowered.cfunc, lowered.fndesc, [state.library])
        state["cr"] = lowered
        return True


class _EntryLibrary(JITCodeLibrary):  # type: ignore[misc]
    """The code of an entry with all its parts, which nobody else calls: one with a single caller goes into it."""

    def _optimize_final_module(self) -> None:
        for function in self._final_module.functions:
            if function.linkage == Linkage.linkonce_odr and not function.is_declaration:
                function.linkage = "internal"
        super()._optimize_final_module()


@register_pass(mutates_CFG=True, analysis_only=False)
class _EntryLowering(_Lowering):
    """Numba's own lowering into a library of ours."""

    _name = "entry_lowering"

    def run_pass(self, state: Any) -> bool:
        """Prepares the library that Numba would make."""
        state.library = _EntryLibrary(state.targetctx.codegen(), state.func_id.func_qualname)
        state.library.enable_object_caching()
        return bool(super().run_pass(state))


def _pipeline(state: Any, lowering: type) -> list[Any]:
    """Numba's pipeline with another last step."""
    pipeline = DefaultPassBuilder.define_nopython_pipeline(state)
    pipeline.passes = [(lowering, why) if step is NativeLowering else (step, why) for step, why in pipeline.passes]
    pipeline.finalize()
    return [pipeline]


class _PartCompiler(CompilerBase):  # type: ignore[misc]
    """Numba's pipeline up to the point where a function would become machine code."""

    def define_pipelines(self) -> list[Any]:
        """One pipeline; Numba asks for a list."""
        self.state.flags.no_compile = True
        return _pipeline(self.state, _PartLowering)


class _EntryCompiler(CompilerBase):  # type: ignore[misc]
    """Numba's pipeline, for an entry and its parts as a whole."""

    def define_pipelines(self) -> list[Any]:
        """One pipeline; Numba asks for a list."""
        return _pipeline(self.state, _EntryLowering)


class _Part(CPUDispatcher):  # type: ignore[misc]
    """A function of the compiled day: compiled code gets its code, a call from Python compiles an entry of its own."""

    def add_overload(self, cres: Any) -> None:
        """Keeps a specialisation for compiled callers only."""
        self.overloads[tuple(cres.signature.args)] = cres

    def get_call_template(self, args: Any, kws: Any) -> Any:
        """What a compiled caller calls: a row is a row, whether it comes as int16, as int32 or as the number 3."""
        return super().get_call_template([_wide(a) for a in args], {name: _wide(a) for name, a in kws.items()})

    def _compile_for_args(self, *args: Any) -> Any:
        if not hasattr(self, "_entry"):
            self._entry = entry(self.py_func)
        return self._entry


class _Entry(CPUDispatcher):  # type: ignore[misc]
    """A compiled function that Python calls."""

    def enable_caching(self) -> None:
        """Keeps the function where nobody else can write."""
        self._cache = KeptFunction(self.py_func, _build)

    def compile(self, sig: Any) -> Any:
        """Machine code for these types: from this process, from disk, or compiled, by one process at a time."""
        _require_compiler()
        with global_compiler_lock, self._cache.turn(sig, self.targetctx):
            return super().compile(sig)


def _wide(kind: Any) -> Any:
    """The type that a part takes an argument as: one for all integers with a sign and members of an `IntEnum`."""
    kind = numba.types.unliteral(kind)
    signed = isinstance(kind, numba.types.Integer) and kind.signed
    return numba.types.int64 if signed or isinstance(kind, numba.types.IntEnumMember) else kind


_OPTIONS = {"nopython": True, "nogil": True, "error_model": "numpy", "_nrt": False}
if CHECKED:
    _OPTIONS["boundscheck"] = True  # of arrays that are no fields of a block
_NO_WRAPPERS = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}


def kernel(function: F) -> F:
    """Decorates a function as part of the compiled day.

    Numba would optimise, emit and store every function by itself before it does so again inside each of its callers;
    of three hundred functions that takes a minute. Only what Python calls (`entry`) is compiled to the end, with all
    its parts inside.
    """
    part: F = _Part(function, targetoptions=_OPTIONS | _NO_WRAPPERS, pipeline_class=_PartCompiler)
    return part


def inlined(function: F) -> F:
    """Decorates a part that goes into every caller: small, and called so often that the call itself would count."""
    part: F = _Part(
        function, targetoptions=_OPTIONS | _NO_WRAPPERS | {"forceinline": True}, pipeline_class=_PartCompiler
    )
    return part


def entry(function: F, fastmath: bool | set[str] = False) -> F:
    """Decorates a compiled function that Python calls, with a signature or two; kept on disk.

    `nogil`: threads of one process step their shares of a batch side by side. Without reference counting (`_nrt`)
    nothing in a kernel can allocate. `fastmath` is for learning alone: worlds keep the order of their sums.
    """
    compiled: F = _Entry(function, targetoptions=_OPTIONS | {"fastmath": fastmath}, pipeline_class=_EntryCompiler)
    compiled.enable_caching()
    return compiled


def bind(function: Callable[..., Any], *arguments: Any) -> Callable[..., Any]:
    """The machine code of an entry for arguments of these types, compiled or loaded if need be.

    Numba asks Python for the type of every block at every call, 15 us in all; whoever calls with the same types day
    after day need not.
    """
    entry_types = tuple(function.typeof_pyval(a) for a in arguments)
    return cast(Callable[..., Any], function.compile(entry_types))
