# Elementary functions for generated code: outside their domain they give NaN, as in NumPy and
# PyTorch, where Julia's own throw. A solver then rejects the step instead of stopping.
module Elementary

export sqrt_, log_, log1p_, sin_, cos_, tan_, asin_, acos_, acosh_, atanh_, erf_, pow_

sqrt_(x::Float64) = x < 0.0 ? NaN : sqrt(x)
log_(x::Float64) = x < 0.0 ? NaN : log(x)
log1p_(x::Float64) = x < -1.0 ? NaN : log1p(x)
sin_(x::Float64) = isinf(x) ? NaN : sin(x)
cos_(x::Float64) = isinf(x) ? NaN : cos(x)
tan_(x::Float64) = isinf(x) ? NaN : tan(x)
asin_(x::Float64) = abs(x) > 1.0 ? NaN : asin(x)
acos_(x::Float64) = abs(x) > 1.0 ? NaN : acos(x)
acosh_(x::Float64) = x < 1.0 ? NaN : acosh(x)
atanh_(x::Float64) = abs(x) > 1.0 ? NaN : atanh(x)
pow_(x::Float64, y::Float64) = x < 0.0 && !isinteger(y) ? NaN : x^y
erf_(x::Float64) = ccall((:erf, Base.Math.libm), Float64, (Float64,), x)

end
