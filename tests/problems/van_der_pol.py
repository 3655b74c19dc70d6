"""Van der Pol's oscillator, mild (mu = 1) and very stiff (mu = 1e6).

Written y1' = y2, y2' = mu * ((1 - y1^2) y2 - y1), which is the scaling of the Bari test set
(VDPOL, eps = 1/mu = 1e-6, t up to 2): at mu = 1e6 there is one jump, near t = 0.807.
"""

import numpy as np

from .base import Problem


def f(u, p, t):
    x, y = u
    return [y, p[0] * ((1 - x**2) * y - x)]


def f_inplace(du, u, p, t):
    du[0] = u[1]
    du[1] = p[0] * ((1.0 - u[0] * u[0]) * u[1] - u[0])


def _f_scipy(mu):
    return lambda t, y: np.array([y[1], mu * ((1.0 - y[0] ** 2) * y[1] - y[0])])


def _jac(mu):
    return lambda t, y: np.array(
        [[0.0 * y[0], 1.0], [-mu * (2.0 * y[0] * y[1] + 1.0), mu * (1.0 - y[0] ** 2)]]
    )


MILD = Problem(
    name="van_der_pol_1",
    f=f,
    f_scipy=_f_scipy(1.0),
    jac=_jac(1.0),
    u0=np.array([2.0, 0.0]),
    tspan=(0.0, 20.0),
    saveat=np.linspace(0.0, 20.0, 101)[1:],
    p=np.array([1.0]),
    variants={"inplace": f_inplace},
    source="B. van der Pol (1926).",
)

STIFF = Problem(
    name="van_der_pol_1e6",
    f=f,
    f_scipy=_f_scipy(1e6),
    jac=_jac(1e6),
    u0=np.array([2.0, 0.0]),
    tspan=(0.0, 2.0),
    # y2 is about -1e6 inside the jumps (t = 0.8070, 1.6142); the times keep clear of them.
    saveat=np.concatenate([np.linspace(0.05, 0.75, 15), np.linspace(0.85, 1.55, 15), [1.7, 2.0]]),
    p=np.array([1e6]),
    stiff=True,
    variants={"inplace": f_inplace},
    published=np.array([0.1706167732170483e1, -0.8928097010247975e0]),
    published_rtol=1e-12,
    source="Test Set for IVP Solvers, release 2.4 (Bari, 2008), VDPOL: RADAU, uround 1.01e-19, "
    "rtol = atol = 1.1e-18.",
)
