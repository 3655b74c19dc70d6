"""
Jump processes by JumpProcesses, alone and in the solution of an ODE or SDE.

See `pysciml.engines.julia.jumps` and `pysciml.engines.julia.jump_diffusion` for the other side.
"""
module PySciMLJumpsExt

using CommonSolve: CommonSolve
using JumpProcesses: JumpProcesses, AbstractAggregatorAlgorithm, ConstantRateJump, Direct,
    JumpProblem, JumpSet, MassActionJump, PureLeaping, RegularJump, SSAStepper,
    SimpleTauLeaping, VR_Direct, VR_DirectEventCache, VariableRateJump
using PrecompileTools: PrecompileTools
using PySciML: PySciML, AbstractModel, Body, Model, Outcome, Plan, Poll, Vec
using Random: Random, Xoshiro
using SciMLBase: SciMLBase, DiscreteProblem, ReturnCode

include("reactions.jl")
include("methods.jl")
include("exact.jl")
include("leaping.jl")
include("diffusion.jl")
include("precompile.jl")

end
