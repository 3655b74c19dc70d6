"""Learning systems: what comes out of equations and networks, each a module that `fit` trains.

A model is a right-hand side with parameters of its own, so it stands wherever a right-hand side
stands:

    model = NeuralODE(nn.mlp([2, 32, 2]))
    result = fit(model, (t, u))                       # or ODEProblem(model, u0, tspan)
    model.fitted(result)                              # the trained module

Some are more than that, and bring their own loss and their own form of data; `fit` asks them.
"""

from pysciml.models.deep_bsde import DeepBSDE
from pysciml.models.expansions import RBF, Chebyshev, Fourier, Legendre, least_squares
from pysciml.models.flow import ContinuousNormalizingFlow
from pysciml.models.koopman import KoopmanAutoencoder, dmd, edmd
from pysciml.models.latent_ode import LatentODE
from pysciml.models.latent_sde import LatentSDE
from pysciml.models.mechanics import HamiltonianNN, LagrangianNN, Separable
from pysciml.models.neural_ode import (
    AugmentedNeuralODE,
    NeuralODE,
    Recurrent,
    SecondOrderNeuralODE,
)
from pysciml.models.neural_sde import NeuralSDE
from pysciml.models.pinn import PINN, RAD, Condition
from pysciml.models.series import RecurrentEncoder
from pysciml.models.signature import SignatureMMD, signature
from pysciml.models.stencil import ConvolutionNetwork, Stencil
from pysciml.models.structure import (
    Conserving,
    Equivariant,
    PerCapita,
    Pointwise,
    Positive,
    Reactions,
    Residual,
)
from pysciml.models.ude import UDE

__all__ = [
    "PINN",
    "RAD",
    "RBF",
    "UDE",
    "AugmentedNeuralODE",
    "Chebyshev",
    "Condition",
    "Conserving",
    "ContinuousNormalizingFlow",
    "ConvolutionNetwork",
    "DeepBSDE",
    "Equivariant",
    "Fourier",
    "HamiltonianNN",
    "KoopmanAutoencoder",
    "LagrangianNN",
    "LatentODE",
    "LatentSDE",
    "Legendre",
    "NeuralODE",
    "NeuralSDE",
    "PerCapita",
    "Pointwise",
    "Positive",
    "Reactions",
    "Recurrent",
    "RecurrentEncoder",
    "Residual",
    "SecondOrderNeuralODE",
    "Separable",
    "SignatureMMD",
    "Stencil",
    "dmd",
    "edmd",
    "least_squares",
    "signature",
]
