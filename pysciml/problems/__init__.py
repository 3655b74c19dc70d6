"""What is to be solved: one class for each kind of equation, checked when it is written down."""

from pysciml.problems.base import Problem
from pysciml.problems.boundary import BVProblem, TwoPointBVProblem
from pysciml.problems.dae import DAEProblem
from pysciml.problems.delay import DDEProblem
from pysciml.problems.dynamical import DynamicalODEProblem, SecondOrderODEProblem
from pysciml.problems.jump_diffusion import Jump, JumpDiffusionProblem
from pysciml.problems.jumps import JumpProblem, Reaction
from pysciml.problems.maps import DiscreteProblem
from pysciml.problems.ode import ODEProblem
from pysciml.problems.split import SplitODEProblem
from pysciml.problems.steady import SteadyStateProblem
from pysciml.problems.stochastic import SDEProblem

__all__ = [
    "BVProblem",
    "DAEProblem",
    "DDEProblem",
    "DiscreteProblem",
    "DynamicalODEProblem",
    "Jump",
    "JumpDiffusionProblem",
    "JumpProblem",
    "ODEProblem",
    "Problem",
    "Reaction",
    "SDEProblem",
    "SecondOrderODEProblem",
    "SplitODEProblem",
    "SteadyStateProblem",
    "TwoPointBVProblem",
]
