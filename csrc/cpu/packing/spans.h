// Where tiles read the source: in packed panels, or, away from its ends, where it is.
#pragma once

#include <cstdint>
#include <vector>

#include "../../correlation.h"

namespace torch_conv1d::cpu {

// Positions [begin, end) whose tiles may read the source where it is: they read nothing outside (a whole stride for the
// last tap), give every phase a result, and are away from what a padding mode folds, and to where (of a correlation
// with what is outside).
struct Inside {
  int64_t begin, end;
  explicit Inside(const Correlation& c);
};

// Consecutive q whose tiles read the same memory.
struct Span {
  int64_t q0, q_len;
  bool packed;
  int64_t packed_before;  // how many spans of the list before this one are
};

// Appends the spans that make up [q, q + q_len); all but the last are whole vectors of `lanes`. A packed span has at
// most panel_length positions. `direct`: the source may be read where it is.
void cut_spans(
    const Correlation& c,
    bool direct,
    int64_t panel_length,
    int64_t lanes,
    int64_t q,
    int64_t q_len,
    std::vector<Span>& spans);

}  // namespace torch_conv1d::cpu
