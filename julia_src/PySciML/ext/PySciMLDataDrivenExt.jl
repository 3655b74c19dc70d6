"""
DataDrivenSparse's regressions on a matrix of terms that Python has evaluated: without a symbolic
basis, which ModelingToolkit would have to build first.
"""
module PySciMLDataDrivenExt

using DataDrivenSparse: ADMM, ClippedAbsoluteDeviation, DataDrivenSparse, HardThreshold, SR3, STLSQ,
    SoftThreshold
using DataDrivenSparse.DataDrivenDiffEq: DataDrivenCommonOptions
using PySciML: PySciML

const PROXIMAL = Dict(
    "ClippedAbsoluteDeviation" => ClippedAbsoluteDeviation(), "HardThreshold" => HardThreshold(),
    "SoftThreshold" => SoftThreshold(),
)

function optimiser(method, thresholds, weight, proximal)
    method == "STLSQ" && return STLSQ(thresholds, weight)
    method == "ADMM" && return ADMM(thresholds, weight)
    return SR3(thresholds, weight, PROXIMAL[proximal])
end

"The threshold in units of coefficients: SR3 keeps half the square of a hard one."
in_units(alg, λ) = λ
in_units(::SR3{T, V, HardThreshold}, λ) where {T, V} = sqrt(2λ)

function PySciML.sparse_regression(
        method, matrix, target, thresholds, weight, proximal, maxiters, tolerance
    )
    alg = optimiser(method, Vector{Float64}(thresholds), weight, proximal)
    options = DataDrivenCommonOptions(; maxiters, abstol = tolerance, reltol = tolerance)
    # features and targets are rows there
    coefficients, chosen, _ = alg(permutedims(matrix), permutedims(target); options)
    return coefficients, Float64[in_units(alg, λ) for λ in chosen]
end

end
