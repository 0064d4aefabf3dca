// The recurrent basecallers on CPUs with AVX-512 BF16: convolutions, LSTMs and the linear layer, for one thread.
//
// What always holds: a row of a batch is computed by the same operations in the same order whatever the other
// rows are and however many they are. Knows no files, no configs and no threads: `models/native/native.py`
// hands in packed weights and every buffer.
//
// Weights are bfloat16 pairs, [outputs / 16][inputs / 2][parts][16][2], so that one VDPBF16PS multiplies two
// inputs by the weights of 16 outputs; sums, cell states and activations are float32.
#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#define KERNEL __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,fma")))
#define KERNEL_INLINE KERNEL __attribute__((always_inline)) inline

namespace {

constexpr int LANES = 16;
// Six rows times four vectors of outputs fill 24 of the 32 registers with sums.
constexpr int ROWS = 6;
constexpr float LOG2_E = 1.44269504088896341f;

enum Activation { NONE = 0, SWISH = 1, TANH = 2 };

// An activation, and the bounds that a clamp after it sets (infinite where there is none).
struct Shape {
    int activation;
    float low, high;
};

// 2^x. Polynomial of degree 5 on [-0.5, 0.5], relative error under 3e-7 (Cephes' exp2f coefficients are of
// the same family; these are the Taylor ones of 2^x, enough for bfloat16 outputs).
KERNEL_INLINE __m512 exp2_ps(__m512 x) {
    x = _mm512_min_ps(_mm512_max_ps(x, _mm512_set1_ps(-126.0f)), _mm512_set1_ps(126.0f));
    const __m512 whole = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const __m512 part = _mm512_sub_ps(x, whole);
    __m512 value = _mm512_set1_ps(1.33335581e-3f);
    value = _mm512_fmadd_ps(value, part, _mm512_set1_ps(9.61812911e-3f));
    value = _mm512_fmadd_ps(value, part, _mm512_set1_ps(5.55041087e-2f));
    value = _mm512_fmadd_ps(value, part, _mm512_set1_ps(2.40226507e-1f));
    value = _mm512_fmadd_ps(value, part, _mm512_set1_ps(6.93147181e-1f));
    value = _mm512_fmadd_ps(value, part, _mm512_set1_ps(1.0f));
    return _mm512_scalef_ps(value, whole);
}

// 1 / (1 + 2^x): the logistic function of -x / log2(e).
KERNEL_INLINE __m512 logistic2_ps(__m512 x) {
    const __m512 denominator = _mm512_add_ps(exp2_ps(x), _mm512_set1_ps(1.0f));
    const __m512 rough = _mm512_rcp14_ps(denominator);
    // One Newton step: 28 bits.
    return _mm512_mul_ps(rough, _mm512_fnmadd_ps(denominator, rough, _mm512_set1_ps(2.0f)));
}

KERNEL_INLINE __m512 tanh_ps(__m512 x) {
    return _mm512_fmsub_ps(_mm512_set1_ps(2.0f), logistic2_ps(_mm512_mul_ps(x, _mm512_set1_ps(-2.0f * LOG2_E))),
                           _mm512_set1_ps(1.0f));
}

KERNEL_INLINE __m512 activate(__m512 x, const Shape& shape) {
    if (shape.activation == SWISH)
        x = _mm512_mul_ps(x, logistic2_ps(_mm512_mul_ps(x, _mm512_set1_ps(-LOG2_E))));
    else if (shape.activation == TANH)
        x = tanh_ps(x);
    return _mm512_min_ps(_mm512_max_ps(x, _mm512_set1_ps(shape.low)), _mm512_set1_ps(shape.high));
}

KERNEL_INLINE __m512bh pair(const uint16_t* at) {
    uint32_t both;
    std::memcpy(&both, at, sizeof both);
    return (__m512bh)_mm512_set1_epi32(static_cast<int>(both));
}

// sums[row][part] += rows' inputs times weights, over `pairs` pairs of inputs. `step` is from row to row.
template <int COUNT, int PARTS>
KERNEL_INLINE void multiply(__m512 (&sums)[COUNT][PARTS], const uint16_t* inputs, size_t step,
                            const uint16_t* weights, int pairs) {
    for (int k = 0; k < pairs; ++k) {
        __m512bh w[PARTS];
        for (int p = 0; p < PARTS; ++p) w[p] = (__m512bh)_mm512_loadu_si512(weights + (k * PARTS + p) * 2 * LANES);
        for (int r = 0; r < COUNT; ++r) {
            const __m512bh x = pair(inputs + r * step + 2 * k);
            for (int p = 0; p < PARTS; ++p) sums[r][p] = _mm512_dpbf16_ps(sums[r][p], x, w[p]);
        }
    }
}

KERNEL_INLINE void store_bf16(uint16_t* at, __m512 value) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(at), (__m256i)_mm512_cvtneps_pbh(value));
}

// One time step of `COUNT` rows and 16 units. Gates come as i, f, g, o; i, f and o are scaled by -log2(e), g by
// -2 log2(e), in weights and biases, so that exp2 needs no multiplication.
template <int COUNT>
KERNEL_INLINE void lstm_cells(const uint16_t* x, int inputs, const uint16_t* h, int units, const uint16_t* weights,
                              const float* biases, float* cells, uint16_t* out) {
    __m512 sums[COUNT][4];
    for (int r = 0; r < COUNT; ++r)
        for (int p = 0; p < 4; ++p) sums[r][p] = _mm512_loadu_ps(biases + p * LANES);
    multiply<COUNT, 4>(sums, x, inputs, weights, inputs / 2);
    if (h) multiply<COUNT, 4>(sums, h, units, weights + static_cast<size_t>(inputs) * 4 * LANES, units / 2);
    const __m512 one = _mm512_set1_ps(1.0f), two = _mm512_set1_ps(2.0f);
    for (int r = 0; r < COUNT; ++r) {
        const __m512 in = logistic2_ps(sums[r][0]), forget = logistic2_ps(sums[r][1]);
        const __m512 candidate = _mm512_fmsub_ps(two, logistic2_ps(sums[r][2]), one);
        const __m512 gate = logistic2_ps(sums[r][3]);
        float* at = cells + static_cast<size_t>(r) * units;
        __m512 cell = _mm512_mul_ps(in, candidate);
        if (h) cell = _mm512_fmadd_ps(forget, _mm512_loadu_ps(at), cell);
        _mm512_storeu_ps(at, cell);
        store_bf16(out + static_cast<size_t>(r) * units, _mm512_mul_ps(gate, tanh_ps(cell)));
    }
}

template <int COUNT>
KERNEL_INLINE void linear_rows(const uint16_t* inputs, size_t step, int pairs, const uint16_t* weights,
                               const float* biases, const Shape& shape, float scale, __m512 (&sums)[COUNT][4]) {
    for (int r = 0; r < COUNT; ++r)
        for (int p = 0; p < 4; ++p) sums[r][p] = _mm512_loadu_ps(biases + p * LANES);
    multiply<COUNT, 4>(sums, inputs, step, weights, pairs);
    for (int r = 0; r < COUNT; ++r)
        for (int p = 0; p < 4; ++p)
            sums[r][p] = _mm512_mul_ps(activate(sums[r][p], shape), _mm512_set1_ps(scale));
}

// Calls `body` with the rows in groups of ROWS and, at the end, of fewer.
#define IN_ROWS(total, body)                            \
    {                                                   \
        int row = 0;                                    \
        for (; row + ROWS <= (total); row += ROWS) {    \
            body(ROWS)                                  \
        }                                               \
        switch ((total) - row) {                        \
            case 5: body(5) break;                      \
            case 4: body(4) break;                      \
            case 3: body(3) break;                      \
            case 2: body(2) break;                      \
            case 1: body(1) break;                      \
            default: break;                             \
        }                                               \
    }

}  // namespace

extern "C" {

int native_supported() {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512bf16");
}

// float32 [samples, inputs] -> float32 [out_samples, outputs] of one row, for the first, narrow convolutions:
// `x` begins with the zeros that pad it. weights are float32 [winlen, inputs, 16], biases [16], outputs <= 16.
// Where `bf16` is not null the result goes there instead.
KERNEL void native_convolution(const float* x, int out_samples, int inputs, int outputs, int winlen, int stride,
                               const float* weights, const float* biases, int activation, float low, float high, float* out,
                               uint16_t* bf16) {
    const Shape shape = {activation, low, high};
    const __mmask16 mask = static_cast<__mmask16>((1u << outputs) - 1u);
    const int taps = winlen * inputs;
    const __m512 bias = _mm512_loadu_ps(biases);
    int t = 0;
    // Four at once, because one sum alone waits for itself.
    for (; t + 4 <= out_samples; t += 4) {
        const float* at = x + static_cast<size_t>(t) * stride * inputs;
        const int step = stride * inputs;
        __m512 sums[4] = {bias, bias, bias, bias};
        for (int k = 0; k < taps; ++k) {
            const __m512 w = _mm512_loadu_ps(weights + k * LANES);
            for (int r = 0; r < 4; ++r) sums[r] = _mm512_fmadd_ps(_mm512_set1_ps(at[r * step + k]), w, sums[r]);
        }
        for (int r = 0; r < 4; ++r) {
            const __m512 value = activate(sums[r], shape);
            if (bf16)
                _mm256_mask_storeu_epi16(bf16 + static_cast<size_t>(t + r) * outputs, mask,
                                         (__m256i)_mm512_cvtneps_pbh(value));
            else
                _mm512_mask_storeu_ps(out + static_cast<size_t>(t + r) * outputs, mask, value);
        }
    }
    for (; t < out_samples; ++t) {
        const float* at = x + static_cast<size_t>(t) * stride * inputs;
        __m512 sum = bias;
        for (int k = 0; k < taps; ++k)
            sum = _mm512_fmadd_ps(_mm512_set1_ps(at[k]), _mm512_loadu_ps(weights + k * LANES), sum);
        const __m512 value = activate(sum, shape);
        if (bf16)
            _mm256_mask_storeu_epi16(bf16 + static_cast<size_t>(t) * outputs, mask,
                                     (__m256i)_mm512_cvtneps_pbh(value));
        else
            _mm512_mask_storeu_ps(out + static_cast<size_t>(t) * outputs, mask, value);
    }
}

// bfloat16 rows, `step` apart, of `inputs` (even) -> bfloat16 rows, `out_step` apart: a wide convolution, whose
// windows are rows that overlap, or a linear layer. Outputs are a multiple of 16; weights are packed in groups of 64.
KERNEL void native_linear(const uint16_t* x, size_t step, int rows, int inputs, int outputs,
                               const uint16_t* weights, const float* biases, int activation, float low, float high,
                               uint16_t* out, size_t out_step) {
    const Shape shape = {activation, low, high};
    for (int o = 0; o < outputs; o += 4 * LANES) {
        const uint16_t* w = weights + static_cast<size_t>(o) * inputs;
        const int kept = (outputs - o + LANES - 1) / LANES;
#define BODY(COUNT)                                                                                             \
    {                                                                                                           \
        __m512 sums[COUNT][4];                                                                                  \
        linear_rows<COUNT>(x + row * step, step, inputs / 2, w, biases + o, shape, 1.0f, sums);      \
        for (int r = 0; r < COUNT; ++r)                                                                         \
            for (int p = 0; p < 4 && p < kept; ++p) store_bf16(out + (row + r) * out_step + o + p * LANES, sums[r][p]); \
    }
        IN_ROWS(rows, BODY)
#undef BODY
    }
}

// bfloat16 [steps, rows, inputs] -> float32 [rows, steps, outputs], times `scale`: the scores.
KERNEL void native_scores(const uint16_t* x, int steps, int rows, int inputs, int outputs, const uint16_t* weights,
                          const float* biases, int activation, float low, float high, float scale, float* out) {
    const Shape shape = {activation, low, high};
    const size_t out_step = static_cast<size_t>(steps) * outputs;
    for (int o = 0; o < outputs; o += 4 * LANES) {
        const uint16_t* w = weights + static_cast<size_t>(o) * inputs;
        const int kept = (outputs - o + LANES - 1) / LANES;
        for (int t = 0; t < steps; ++t) {
            const uint16_t* now = x + static_cast<size_t>(t) * rows * inputs;
            float* to = out + static_cast<size_t>(t) * outputs + o;
#define BODY(COUNT)                                                                                            \
    {                                                                                                          \
        __m512 sums[COUNT][4];                                                                                 \
        linear_rows<COUNT>(now + static_cast<size_t>(row) * inputs, inputs, inputs / 2, w, biases + o, shape, scale, \
                           sums);                                                                              \
        for (int r = 0; r < COUNT; ++r)                                                                        \
            for (int p = 0; p < 4 && p < kept; ++p) _mm512_storeu_ps(to + (row + r) * out_step + p * LANES, sums[r][p]); \
    }
            IN_ROWS(rows, BODY)
#undef BODY
        }
    }
}

// bfloat16 [steps, rows, inputs] -> bfloat16 [steps, rows, units]; from the last step to the first where
// `reverse`. `cells` float32 [rows, units] is room to work in. Inputs are even, units a multiple of 16.
KERNEL void native_lstm(const uint16_t* x, int steps, int rows, int inputs, int units, int reverse,
                        const uint16_t* weights, const float* biases, float* cells, uint16_t* out) {
    const size_t group = static_cast<size_t>(inputs + units) * 4 * LANES;
    for (int n = 0; n < steps; ++n) {
        const int t = reverse ? steps - 1 - n : n;
        const uint16_t* now = x + static_cast<size_t>(t) * rows * inputs;
        uint16_t* state = out + static_cast<size_t>(t) * rows * units;
        const uint16_t* before = n == 0 ? nullptr : out + static_cast<size_t>(reverse ? t + 1 : t - 1) * rows * units;
        // The weights of 16 units stay in the first cache while all rows pass.
        for (int u = 0; u < units; u += LANES) {
            const uint16_t* w = weights + (u / LANES) * group;
#define BODY(COUNT)                                                                                       \
    lstm_cells<COUNT>(now + static_cast<size_t>(row) * inputs, inputs,                                    \
                      before ? before + static_cast<size_t>(row) * units : nullptr, units, w, biases + 4 * u, \
                      cells + static_cast<size_t>(row) * units + u, state + static_cast<size_t>(row) * units + u);
            IN_ROWS(rows, BODY)
#undef BODY
        }
    }
}

}  // extern "C"

#else

extern "C" int native_supported() { return 0; }

#endif
