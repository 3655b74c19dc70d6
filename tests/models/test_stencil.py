"""Convolutions as stencils, and equations on grids that are learned with them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

import pysciml as sml
from pysciml import nn
from pysciml.models import UDE, ConvolutionNetwork, Pointwise, Stencil
from pysciml.train import LBFGS, Adam

MODES = {"periodic": "wrap", "neumann": "reflect", "dirichlet": "constant"}  # SciPy's words


def random(*shape):
    return np.random.default_rng(0).standard_normal(shape)


@pytest.mark.parametrize("boundary", MODES)
@pytest.mark.parametrize("width, grid", [(3, (8,)), (5, (9,)), (3, (6, 7)), (3, (4, 5, 6))])
def test_it_is_a_correlation(boundary, width, grid):
    weights, u = random(*(width,) * len(grid)), random(*grid)
    stencil = Stencil(width, len(grid), order=0, boundary=boundary, weights=weights)
    expected = ndimage.correlate(u, weights, mode=MODES[boundary])
    np.testing.assert_allclose(stencil(torch.as_tensor(u)).detach(), expected, atol=1e-13)


@pytest.mark.parametrize("boundary", MODES)
def test_a_network_of_them_is_correlations_and_tanh(boundary):
    network = ConvolutionNetwork([2, 3, 1], width=3, boundary=boundary, seed=1)
    u = random(2, 5, 6)
    x = u
    for k, layer in enumerate(network.convolutions):
        x = x if k == 0 else np.tanh(x)
        x = np.stack(
            [
                sum(
                    ndimage.correlate(field, taps, mode=MODES[boundary])
                    for field, taps in zip(x, each, strict=True)
                )
                + bias
                for each, bias in zip(
                    layer.weight.detach().numpy(), layer.bias.detach().numpy(), strict=True
                )
            ]
        )
    np.testing.assert_allclose(network(torch.as_tensor(u)).detach(), x, atol=1e-13)


def test_one_channel_needs_no_axis():
    network = ConvolutionNetwork([1, 2, 1], dims=1)
    u = torch.as_tensor(random(7))
    np.testing.assert_array_equal(network(u).detach(), network(u[None])[0].detach())


def test_moments_below_the_order_vanish():
    x, y = np.meshgrid(np.arange(-2.0, 3.0), np.arange(-2.0, 3.0), indexing="ij")
    for order in range(4):
        taps = Stencil(5, 2, order=order, weights=random(5, 5)).taps.detach().numpy()
        for i in range(4):
            for j in range(4 - i):
                moment = (taps * x**i * y**j).sum()
                assert (abs(moment) < 1e-12) == (i + j < order), (order, i, j)


def test_three_taps_of_second_order_are_one_number():
    taps = Stencil(order=2, weights=[0.3, 0.1, 0.8]).taps.detach().numpy()
    np.testing.assert_allclose(taps / taps[0], [1.0, -2.0, 1.0], rtol=1e-13)


def test_a_solve_on_the_native_engine_is_the_heat_equation():
    """u_t = u_xx between walls: the second cosine decays by the eigenvalue of the differences."""
    n = 20
    diffusion = Stencil(boundary="neumann", weights=[1.0, -2.0, 1.0])
    mode = np.cos(2.0 * np.pi * (np.arange(n) + 0.5) / n)
    problem = sml.ODEProblem(lambda u, p, t: diffusion(u), mode, (0.0, 3.0))
    u = sml.solve(problem, "Tsit5", "native", saveat=[3.0], abstol=1e-10, reltol=1e-10).u[-1]
    rate = -4.0 * np.sin(np.pi / n) ** 2
    np.testing.assert_allclose(u, np.exp(3.0 * rate) * mode, atol=1e-8)


N = 32
H = 1.0 / N
X = H * np.arange(N)


def learn(true, law, networks, u0, end, adam=400, lbfgs=250):
    t = end * np.linspace(0.0, 1.0, 21) ** 1.5  # uneven, or a field may go round unseen
    data = sml.solve(
        sml.ODEProblem(true, u0, (0.0, end)), "Tsit5", "native", t, abstol=1e-9, reltol=1e-9
    ).u
    model = UDE(law, networks)
    result = sml.fit(
        model,
        (t, data),
        alg="Tsit5",
        engine="native",
        optimisers=[Adam(0.01, adam, "cosine"), LBFGS(lbfgs)],
        progress=False,
    )
    return model.fitted(result).networks


def test_fisher_kpp():
    """u_t = D u_xx + u (1 - u): the stencil found is D [1, -2, 1], and the network u (1 - u)."""
    diffusivity = 0.01

    def true(u, p, t):
        return diffusivity * (torch.roll(u, 1) - 2.0 * u + torch.roll(u, -1)) / H**2 + u * (1.0 - u)

    def law(u, p, t, nn):
        return nn["diffusion"](u) / H**2 + nn["reaction"](u)

    networks = {"diffusion": Stencil(), "reaction": Pointwise(nn.mlp([1, 8, 1]))}
    u0 = 0.25 * (np.tanh((X - 0.3) / 0.1) - np.tanh((X - 0.7) / 0.1))
    found = learn(true, law, networks, u0, 5.0)
    taps = found["diffusion"].taps.detach().numpy()
    np.testing.assert_allclose(taps, diffusivity * np.array([1.0, -2.0, 1.0]), rtol=0.02)
    u = np.linspace(0.05, 0.95, 10)
    reaction = found["reaction"](torch.as_tensor(u)).detach().numpy()
    np.testing.assert_allclose(reaction, u * (1.0 - u), atol=0.01)


def test_burgers():
    """u_t = -(u^2/2)_x + nu u_xx, of which the flux and nu are learned."""
    nu = 0.02
    slope = Stencil(order=1, weights=[-0.5, 0.0, 0.5])

    def true(u, p, t):
        left, right = torch.roll(u, 1), torch.roll(u, -1)
        return (left**2 - right**2) / (4.0 * H) + nu * (left - 2.0 * u + right) / H**2

    def law(u, p, t, nn):
        return -slope(nn["flux"](u)) / H + nn["diffusion"](u) / H**2

    networks = {"diffusion": Stencil(order=2), "flux": Pointwise(nn.mlp([1, 8, 1]))}
    found = learn(true, law, networks, np.sin(2.0 * np.pi * X) + 0.3, 0.5)
    taps = found["diffusion"].taps.detach().numpy()
    np.testing.assert_allclose(taps, nu * np.array([1.0, -2.0, 1.0]), rtol=0.02)
    u = torch.linspace(-0.5, 1.0, 10, dtype=torch.float64)
    flux = found["flux"](u).detach()
    np.testing.assert_allclose(flux - flux.mean(), u**2 / 2 - (u**2 / 2).mean(), atol=0.02)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Stencil(4), "width must be odd"),
        (lambda: Stencil(0), "width must be a whole number"),
        (lambda: Stencil(order=3), "order must be a whole number from 0 to 2; got 3"),
        (lambda: Stencil(boundary="robin"), "boundary must be"),
        (lambda: Stencil(weights=[1.0, 2.0]), r"weights must be of shape \(3,\)"),
        (lambda: Stencil()(torch.zeros(3, 3)), "u must have 1 dimensions"),
        (lambda: ConvolutionNetwork([1, 1], dims=3), "dims must be 1 or 2; got 3"),
        (lambda: ConvolutionNetwork([1, 1], width=2), "width must be odd"),
        (lambda: ConvolutionNetwork([1]), "channels must be"),
    ],
)
def test_bad_calls_name_the_argument(make, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make()
