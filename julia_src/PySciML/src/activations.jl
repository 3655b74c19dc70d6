# Activation functions that NNlib does not have as PyTorch, or pysciml.nn, defines them.
module Activations

using ..Elementary: erf_

"PyTorch's GELU, with the error function; NNlib's `gelu` is the approximation by tanh."
gelu(x) = x / 2 * (1 + erf_(x / sqrt(2)))

"PyTorch's Softplus: linear where `beta * x` exceeds the threshold."
struct Softplus
    beta::Float64
    threshold::Float64
end
(s::Softplus)(x) = s.beta * x > s.threshold ? x : log1p(exp(s.beta * x)) / s.beta

"The Gaussian of Rackauckas et al. (2020)."
rbf(x) = exp(-x^2)

end
