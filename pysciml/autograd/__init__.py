"""`odeint`, `odeint_adjoint`, `odeint_event`: torchdiffeq's functions, solved by pysciml's engines.

Signatures and meaning are torchdiffeq's (R. T. Q. Chen, 2018, https://github.com/rtqichen/torchdiffeq);
`engine` is the one new argument. The function is captured once and compiled, so that it is Python
only in the trace. What this means for its user:

- The values of tensors, and plain numbers among attributes, closures, defaults and globals, may
  change between calls. Values that the function itself changes, such as a counter of its calls, may
  too, but are counted at a trace only, not at each evaluation.
- Everything is computed in float64; results have the dtype of `y0`. The error of a step is measured
  by the root mean square over all entries, of a tuple too.
- Gradients are exact derivatives of the steps taken on the native engine. The function's own
  parameters, tensors in its closure, `y0` and `t` receive them. Second derivatives come from
  torchdiffeq.
- What cannot be captured (a branch on values, `torch.autograd.grad` instead of `torch.func.grad`,
  an operation without translation), what an engine lacks, and functions with torchdiffeq's
  callbacks go to torchdiffeq itself, with one warning. With an engine asked for by name they are
  errors.
"""

from pysciml.autograd.functions import odeint, odeint_adjoint, odeint_event

__all__ = ["odeint", "odeint_adjoint", "odeint_event"]
