// A row's dense code in two planes, for a row that is compared with many: its own rounding, as
// large as that of each of them, leaves the bound.
//
// In the names of bounds.h, v's point is w_v = z + e with z = s (q + r / 256), q and r integers,
// and tau >= |e|, so that for a row u with w_u = s q_u + e_u
//
//   <w_u, w_v> = s^2 q_u'(q + r / 256) + <e_u, z> + <w_u, e>
//             <= s^2 q_u'(q + r / 256) + tau_u |z| + P tau
//
// as no row that is screened is longer than P. v's share is ceil((P tau + t) / s^2), without the
// halves of rho_max; u's holds (P + rho_max / 2) tau_u, of which |z| tau_u is needed.
// q_u'r / 256 is rounded up.
#include <algorithm>
#include <cmath>

#include "cpu/isa.h"
#include "screen/bounds.h"
#include "screen/screen.h"

namespace meddel {

FineCode Screen::encode_fine(const Positions& side, int64_t p) const {
  constexpr double kPlane = 1 << kPlaneBits;
  const int64_t row = side.rows[p];
  const auto padded = static_cast<size_t>(chunked(width_));
  const int32_t bias = kernels().bias;
  FineCode out{std::vector<uint8_t>(padded, 0), std::vector<uint8_t>(padded, 0), kSurvives, 0.0};
  std::vector<float> point(static_cast<size_t>(d_));
  const double square = static_cast<double>(map_(side, row, point.data()));
  if (!(square < map_.longest * map_.longest)) return out;
  double off = 0.0, length = 0.0;
  for (int64_t e = 0; e < d_; ++e) {
    const double value = static_cast<double>(point[e]) / step_;
    // Bytes are unsigned where the kernels want a bias: then the low plane only adds.
    const double whole = bias == 0 ? std::nearbyint(value) : std::floor(value);
    const double q = std::clamp(whole, -127.0, 127.0);
    const double least = bias == 0 ? -127.0 : 0.0, most = bias == 0 ? 127.0 : 255.0;
    const double r = std::clamp(std::nearbyint((value - q) * kPlane), least, most);
    out.high[e] = static_cast<uint8_t>(static_cast<int32_t>(q) + bias);
    out.low[e] = static_cast<uint8_t>(static_cast<int32_t>(r));
    const double z = q + r / kPlane;
    length += z * z;
    off += (value - z) * (value - z);
  }
  const double tau = step_ * std::sqrt(off) * (1.0 + 1e-9) + 1e-12 + epsilon_;
  out.length = step_ * std::sqrt(length) * (1.0 + 1e-9);
  if (tau > remainder_ || out.length > factor()) return out;
  out.share = share(tau, longest_, square, map_.kappa(side.norms[row])).a;
  return out;
}

}  // namespace meddel
