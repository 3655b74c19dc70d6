# Elementary functions for generated code: outside their domain they give NaN, as in NumPy and
# PyTorch, where Julia's own throw. A solver then rejects the step instead of stopping.
module Elementary

export sqrt_, log_, log1p_, sin_, cos_, tan_, asin_, acos_, acosh_, atanh_, erf_, pow_
export vexp, vexpm1, vtanh, vlog, vlog1p

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

# Without branches, for loops: LLVM computes as many at once as a register holds. The same formulas
# as in pysciml/codegen/elementary.py, with the same errors (below 3 units in the last place).
const ONE = 0x3ff0000000000000  # bits of 1.0
const ROUND = 6755399441055744.0  # 1.5 * 2^52: adding it rounds to an integer, found in the last bits
const LN2_HI, LN2_LO = 6.93147180369123816490e-01, 1.90821492927058770002e-10
const HALF_ROOT = 0x3fe6a09e667f3bcd  # bits of sqrt(1/2)
const INVERSE_FACTORIALS = ntuple(k -> 1.0 / factorial(k - 1), 14)
const LOG_SERIES = (
    6.666666666666735130e-01, 3.999999999940941908e-01, 2.857142874366239149e-01,
    2.222219843214978396e-01, 1.818357216161805012e-01, 1.531383769920937332e-01,
    1.479819860511658591e-01,
)

"exp(r) - 1 for |r| <= ln(2)/2, by its series"
@inline function expm1_reduced(r::Float64)
    c = INVERSE_FACTORIALS
    r2 = r * r
    r4 = r2 * r2
    low = muladd(r2, muladd(c[6], r, c[5]), muladd(c[4], r, c[3]))
    mid = muladd(r2, muladd(c[10], r, c[9]), muladd(c[8], r, c[7]))
    high = muladd(r2, muladd(c[14], r, c[13]), muladd(c[12], r, c[11]))
    return muladd(r2, muladd(r4, muladd(r4, high, mid), low), r)
end

"2^k, k being what `ROUND` was added to"
@inline power_of_two(rounded::Float64) =
    reinterpret(Float64, (reinterpret(UInt64, rounded) << 52) + ONE)

@inline rounded(y::Float64) = y * 1.4426950408889634 + ROUND
@inline remainder(y::Float64, k::Float64) = muladd(-k, LN2_LO, muladd(-k, LN2_HI, y))

@inline function vexp(x::Float64)
    y = ifelse(x < -746.0, -746.0, ifelse(x > 710.0, 710.0, x))
    k = rounded(y) - ROUND
    e = 1.0 + expm1_reduced(remainder(y, k))
    half = 0.5 * k + ROUND  # in two factors: 2^k itself may be out of range
    rest = (k - (half - ROUND)) + ROUND
    return e * power_of_two(half) * power_of_two(rest)
end

@inline function vexpm1(x::Float64)
    y = ifelse(x < -50.0, -50.0, ifelse(x > 709.8, 709.8, x))
    k = rounded(y) - ROUND
    e = expm1_reduced(remainder(y, k))
    half = power_of_two((k - 1.0) + ROUND)
    return ifelse(k == 0.0, e, 2.0 * (half * e + (half - 0.5)))
end

@inline function vtanh(x::Float64)
    a = abs(x)
    y = 2.0 * ifelse(a > 22.0, 22.0, a)
    z = rounded(y)
    power = power_of_two(z)
    e = muladd(power, expm1_reduced(remainder(y, z - ROUND)), power - 1.0)
    return copysign(e / (e + 2.0), x)
end

"log(u) + k0*ln(2) + c for a normal u > 0; c is small against u's last place"
@inline function log_scaled(u::Float64, k0::Float64, c::Float64)
    bits = reinterpret(UInt64, u)
    field = (bits - HALF_ROOT + ONE) >> 52  # u = m 2^(field - 1023), m >= sqrt(1/2)
    m = reinterpret(Float64, bits - ((field - 0x03ff) << 52))
    k = (reinterpret(Float64, field | 0x4330000000000000) - 4503599627370496.0) - 1023.0 + k0
    f = m - 1.0
    s = f / (2.0 + f)
    z = s * s
    w = z * z
    l = LOG_SERIES
    even = w * muladd(w, muladd(w, l[6], l[4]), l[2])
    odd = z * muladd(w, muladd(w, muladd(w, l[7], l[5]), l[3]), l[1])
    square = 0.5 * f * f
    return ((s * (square + (even + odd)) + (k * LN2_LO + c)) - square + f) + k * LN2_HI
end

"y = log(u), put right where u is 0, negative, infinite or NaN"
@inline function outside(y::Float64, x::Float64, u::Float64)
    y = ifelse(u == 0.0, -Inf, ifelse(u < 0.0, NaN, y))
    return ifelse(u < Inf, y, x)
end

@inline function vlog(x::Float64)
    tiny = x < 2.2250738585072014e-308
    u = ifelse(tiny, x * 18014398509481984.0, x)  # 2^54
    return outside(log_scaled(u, ifelse(tiny, -54.0, 0.0), 0.0), x, x)
end

@inline function vlog1p(x::Float64)
    u = 1.0 + x
    lost = ifelse(x > 1.0, 1.0 - (u - x), x - (u - 1.0))
    return outside(log_scaled(u, 0.0, lost / u), x, u)
end

end
