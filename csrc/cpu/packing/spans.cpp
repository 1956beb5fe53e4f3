#include "spans.h"

#include <algorithm>

#include "../../division.h"

namespace torch_conv1d::cpu {

Inside::Inside(const Correlation& c) {
  const int64_t reach = c.fold_reach();
  begin = std::max(ceil_div(-c.first_offset(), c.source_stride), ceil_div(c.lead() + reach, c.phases));
  end = std::min(
      floor_div(c.out_length - c.fold_right - reach, c.phases),
      floor_div(c.source_length - c.last_offset(), c.source_stride));
}

void cut_spans(
    const Correlation& c,
    bool direct,
    int64_t panel_length,
    int64_t lanes,
    int64_t q,
    int64_t q_len,
    std::vector<Span>& spans) {
  const int64_t end = q + q_len;
  const Inside inside_source(c);
  const int64_t inside_begin = direct ? std::clamp(inside_source.begin, q, end) : end;
  const int64_t inside_end = std::min(end, inside_source.end);
  while (q < end) {
    const int64_t inside = q >= inside_begin ? (inside_end - q) / lanes * lanes : 0;
    const int64_t before = q < inside_begin ? ceil_div(inside_begin - q, lanes) * lanes : end - q;
    const bool packed = inside <= 0;
    const int64_t packed_before = spans.empty() ? 0 : spans.back().packed_before + spans.back().packed;
    spans.push_back({q, packed ? std::min({panel_length, before, end - q}) : inside, packed, packed_before});
    q += spans.back().q_len;
  }
}

}  // namespace torch_conv1d::cpu
