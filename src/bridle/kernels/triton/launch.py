"""Launches of Triton kernels that cost the host little.

Triton's own dispatcher takes some 80 µs for a kernel of twenty arguments: it binds them, works out
what of each a program is compiled for, and looks at every global that the kernel mentions. A small
step has no more than that in all. What has been launched once is launched again by its compiled
program, found by the properties of the arguments that Triton compiles for, and handed addresses in
place of tensors: of those it asks the driver again whose memory they are. A `Launch` does not even
look for its program again.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

from bridle.kernels.choose import has_triton


def serves(device: Any) -> bool:
    """Tell whether our kernels run on a device: NVIDIA's, where Triton is installed."""
    return device.type == "cuda" and has_triton()


def next_power_of_2(number: int) -> int:
    """Return the least power of 2 that is not below a number.

    >>> next_power_of_2(1), next_power_of_2(5)
    (1, 8)
    """
    return int(1 << (number - 1).bit_length())


class Launcher:
    """A kernel of a module, loaded when it is first launched.

    Parameters
    ----------
    module, name : str
        Where the kernel is. Its constants stand behind its arguments.
    """

    def __init__(self, module: str, name: str) -> None:
        self._module, self._name = module, name
        self._programs: dict[Any, Any] = {}

    def __call__(
        self, programs: int, arguments: tuple[Any, ...], constants: dict[str, Any], warps: int
    ) -> Any:
        """Launch so many programs on the device of the first argument, a tensor.

        Returns the compiled program: None from the interpreter.
        """
        device = arguments[0].get_device()
        values = tuple(constants.values())
        kinds, plain = _compiled_for(arguments)
        key = (device, warps, values, kinds)
        known = self._programs.get(key)
        if known is not None:
            _start(known, device, programs, (*plain, *values))
            return known
        kernel = getattr(import_module(self._module), self._name)
        assert kernel.arg_names[len(arguments) :] == list(constants)
        with sys.modules["torch"].cuda.device(device):
            program = kernel[programs, 1, 1](
                *arguments,
                **constants,
                num_warps=warps,
                # A product and a sum are rounded apart unless a kernel says otherwise, as in the
                # reference.
                enable_fp_fusion=False,
            )
        if program is None:
            return None
        return self._programs.setdefault(
            key, program.result() if hasattr(program, "result") else program
        )


class Launch:
    """A launch of a kernel, all but its tensors, to be made again and again.

    Parameters
    ----------
    kernel : Launcher
        Whose first arguments are tensors.
    programs : int
        How many programs are launched.
    numbers : tuple
        The arguments behind the tensors.
    constants : dict
        The kernel's constants.
    warps : int
        Of each program.
    """

    def __init__(
        self,
        kernel: Launcher,
        programs: int,
        numbers: tuple[Any, ...],
        constants: dict[str, Any],
        warps: int,
    ) -> None:
        self._kernel, self._programs, self._numbers = kernel, programs, numbers
        self._constants, self._warps = constants, warps
        self._rest = (*numbers, *constants.values())
        self._program: Any = None
        self._device = -1

    def __call__(self, *tensors: Any) -> None:
        """Launch the kernel for tensors that are, and lie, like those of the first call.

        The same are None, dtypes, the device, and which begin at a multiple of 16 bytes.
        """
        if self._program is None:
            arguments = (*tensors, *self._numbers)
            self._program = self._kernel(self._programs, arguments, self._constants, self._warps)
            self._device = tensors[0].get_device()
            return
        addresses = [None if tensor is None else tensor.data_ptr() for tensor in tensors]
        _start(self._program, self._device, self._programs, (*addresses, *self._rest))


Launches = dict[Any, Launch]


def remembered(launches: Launches | None, name: Any, make: Callable[[], Launch]) -> Launch:
    """Return the launch of a name among those of calls alike; made where there is none yet."""
    if launches is None:
        return make()
    found = launches.get(name)
    if found is None:
        found = launches[name] = make()
    return found


def layout_of(tensor: Any) -> Any:
    """Return all that a program is compiled for of a tensor, or chosen by."""
    if tensor is None:
        return None
    place = tensor.data_ptr() % 16
    return tensor.shape, tensor.stride(), tensor.dtype, tensor.device, place


def _start(program: Any, device: int, programs: int, arguments: tuple[Any, ...]) -> None:
    """Start a compiled program, as its own ``program[grid](...)`` does but for what it asks."""
    torch: Any = sys.modules["torch"]
    if device != torch._C._cuda_getDevice():
        with torch.cuda.device(device):
            _start(program, device, programs, arguments)
        return
    hooks = sys.modules["triton"].knobs.runtime
    enter, leave = hooks.launch_enter_hook, hooks.launch_exit_hook
    if _is_set(enter) or _is_set(leave):  # a profiler's
        program[programs, 1, 1](*arguments)
        return
    stream = torch._C._cuda_getCurrentRawStream(device)
    function, metadata = program.function, program.packed_metadata
    program.run(programs, 1, 1, stream, function, metadata, None, None, None, *arguments)


def _is_set(hook: Any) -> bool:
    return hook is not None and bool(getattr(hook, "calls", True))


def _compiled_for(arguments: tuple[Any, ...]) -> tuple[tuple[Any, ...], list[Any]]:
    """Return what Triton compiles for of each argument, and all with addresses for tensors."""
    kinds: list[Any] = []
    plain: list[Any] = []
    for argument in arguments:
        kind = type(argument)
        if argument is None or kind is float:
            kinds.append(kind)
        elif kind is int:
            kinds.append((argument == 1, argument % 16 == 0, -(2**31) <= argument < 2**31))
        else:
            argument, dtype = argument.data_ptr(), argument.dtype
            kinds.append((dtype, argument % 16 == 0))
        plain.append(argument)
    return tuple(kinds), plain
