meta:
  id: sinr
  title: "SINR, a bitstream for implicit neural representations"
  file-extension: sinr
  license: "Apache-2.0"
  ks-version: 0.11
  endian: le
  bit-endian: le
doc: "Made by spec/generate.py from the layout of the fields and spec/registry.toml. Clauses are those of spec/sinr-1.md. Values and check values are described, not checked."
seq:
  - id: signature
    contents: [83, 73, 78, 210]
    doc: "Clause 5.1."
  - id: head
    type: head_chunk
    doc: "Clause 6. The first chunk."
  - id: chunks
    type: chunk
    doc: "Clause 5.2. The last one has bit 4."
    repeat: until
    repeat-until: "_.header.is_last"
    if: "not head.header.is_last"
types:
  head_chunk:
    seq:
      - id: header
        type: chunk_header
      - id: payload
        type: head
        size: "header.length"
      - id: trailer
        type: chunk_trailer
  chunk:
    seq:
      - id: header
        type: chunk_header
      - id: payload
        type:
          switch-on: "header.is_private ? 0 : header.kind.to_i"
          cases:
            "2": pass_payload
            _: ancillary
        size: "header.length"
      - id: trailer
        type: chunk_trailer
  pass_payload:
    doc: "Clause 7."
    seq:
      - id: flags
        type: u1
        doc: "bits 0-2 coding; bit 3 last chunk of its pass; bits 4-7 log2_lanes. bits 0-2 a coding of the registry: else UNKNOWN_ID"
      - id: pass_number
        type: u1
        doc: "number of the pass, from 0"
      - id: acc_crc
        type: u4
        doc: "CRC-32 of the integer weights, clause 7.5"
      - id: part
        type: u2
        doc: "number of the part; 65535: the shared tensors"
        if: "_root.head.payload.features_required & 0x20 != 0"
      - id: table
        type: "table(flags & 7, is_later)"
        if: has_table
      - id: body
        size-eos: true
        doc: "Clauses 10 and 11: coded values, behind the table if it is not there."
    instances:
      coding:
        value: "flags & 7"
        enum: coding
      log2_lanes:
        value: "flags >> 4"
      is_later:
        value: "pass_number > 0 or _root.head.payload.features_required & 0x80 != 0"
      has_table:
        value: "(_root.head.payload.features_required & 0x78) == 0"
        doc: "Not with SPARSE, GRID, PARTS or WIDTHS."
  table:
    doc: "Clause 7.3: the tensors of all layers, the weights and then the bias of each."
    params:
      - id: coding
        type: u1
      - id: is_later
        type: bool
    seq:
      - id: records
        type: "record_table(_root.head.payload.records[_index], coding, is_later)"
        repeat: expr
        repeat-expr: "_root.head.payload.n_records - 1"
      - id: last_layer
        type: "layer_table(_root.head.payload.last_record.body.tool_flags, coding, is_later)"
  record_table:
    params:
      - id: record
        type: record
      - id: coding
        type: u1
      - id: is_later
        type: bool
    seq:
      - id: layers
        type: "layer_table(tool_flags, coding, is_later)"
        repeat: expr
        repeat-expr: n_layers
    instances:
      is_group:
        value: "record.kind.to_i <= 12"
      n_layers:
        value: "is_group ? record.body.as<layer_body>.repeat : (record.kind == record_kind::output or record.kind == record_kind::filter) ? 1 : 0"
      tool_flags:
        value: "is_group ? record.body.as<layer_body>.tool_flags : record.kind == record_kind::output ? record.body.as<output_body>.tool_flags : record.body.as<filter_body>.tool_flags"
  layer_table:
    params:
      - id: tool_flags
        type: u1
      - id: coding
        type: u1
      - id: is_later
        type: bool
    seq:
      - id: weights
        type: "entry(tool_flags, coding, is_later, true)"
        if: "tool_flags & 7 != 0"
      - id: bias
        type: "entry(tool_flags, coding, is_later, false)"
        if: "tool_flags & 7 != 0 and tool_flags & 0x20 == 0"
  entry:
    params:
      - id: tool_flags
        type: u1
      - id: coding
        type: u1
      - id: is_later
        type: bool
      - id: is_weights
        type: bool
    seq:
      - id: change
        type: change
        if: is_later
      - id: step
        type: step
        if: "not is_later"
      - id: row_steps
        type: "row_steps(coding)"
        if: "not is_later and is_weights and tool_flags & 16 != 0"
      - id: prior
        type: prior
        if: "not is_later and tool_flags & 8 != 0"
      - id: values
        type: "values(coding)"
        if: "not is_later or change.refined"
  change:
    seq:
      - id: refined
        type: b1
        doc: "1: this pass changes the tensor; 0: nothing else follows for it"
      - id: refine_bits
        type: b3
        doc: "n - 1; the integers gain n = 1 to 8 bits"
        if: refined
  step:
    seq:
      - id: step_form
        type: b1
        doc: "0: step_short follows; 1: step_long follows"
      - id: step_short
        type: b7
        doc: "step code - 680"
        if: "not step_form"
      - id: step_long
        type: b10
        doc: "step code"
        if: step_form
  row_steps:
    params:
      - id: coding
        type: u1
    seq:
      - id: has
        type: has_row_steps
      - id: values
        type: "values(coding)"
        if: "has.has_row_steps"
  has_row_steps:
    seq:
      - id: has_row_steps
        type: b1
        doc: "1: the rows have step differences, whose value parameters follow"
  prior:
    seq:
      - id: has_prior
        type: b1
        doc: "1: the tensor has a prior"
      - id: prior_form
        type: b1
        doc: "0: prior_short follows; 1: prior_long follows"
        if: has_prior
      - id: prior_short
        type: b7
        doc: "(m >> 8) - 128, the low 8 bits of m being 0"
        if: "has_prior and not prior_form"
      - id: prior_long
        type: b16
        doc: m
        if: "has_prior and prior_form"
      - id: prior_shift
        type: b5
        doc: "E - 8; 31 is invalid"
        if: has_prior
  values:
    params:
      - id: coding
        type: u1
    seq:
      - id: width
        type: b5
        doc: "bits of a value - 1 (codings 0 and 2 to 4)"
        if: "coding != 1"
      - id: form
        type: b2
        doc: "model form (coding 1)"
        if: "coding == 1"
      - id: law
        type: b2
        doc: "short form: law"
        if: "coding == 1 and form == 1"
      - id: scale
        type: b8
        doc: "short form: q"
        if: "coding == 1 and form == 1"
      - id: max_symbol
        type: b10
        doc: "long form: R"
        if: "coding == 1 and form == 2"
      - id: zero_probability
        type: b8
        doc: "long form: p0"
        if: "coding == 1 and form == 2"
      - id: tail
        type: b8
        doc: "long form: tb"
        if: "coding == 1 and form == 2"
      - id: tail_change
        type: b8
        doc: "long form: rb"
        if: "coding == 1 and form == 2"
      - id: heavy
        type: b1
        doc: "long form: heavy"
        if: "coding == 1 and form == 2"
      - id: low_bits
        type: b4
        doc: "long form: b"
        if: "coding == 1 and form == 2"
      - id: escape
        type: b1
        doc: "long form: esc"
        if: "coding == 1 and form == 2"
  ancillary:
    instances:
      indx:
        pos: 0
        type: indx
        if: "_parent.header.kind == chunk_kind::indx_chunk"
      meta:
        pos: 0
        type: meta
        if: "_parent.header.kind == chunk_kind::meta_chunk"
      hash:
        pos: 0
        type: hash
        if: "_parent.header.kind == chunk_kind::hash_chunk"
      prev:
        pos: 0
        type: prev
        if: "_parent.header.kind == chunk_kind::prev_chunk"
  indx:
    doc: "Clause 12.1."
    seq:
      - id: kind
        type: u1
        enum: indx_kind
        doc: "0: places; 1: directory"
      - id: places
        type: indx_places
        if: "kind == indx_kind::places"
      - id: lengths
        type:
          switch-on: "places.length_bytes"
          cases:
            "1": u1
            "2": u2
            "3": b24
            "4": u4
        if: "kind == indx_kind::places and places.length_bytes >= 1 and places.length_bytes <= 4"
        doc: "bytes of each chunk's payload"
        repeat: eos
      - id: entries
        type: indx_entry
        if: "kind == indx_kind::directory"
        repeat: eos
  meta:
    seq:
      - id: pairs
        type: meta_pair
        repeat: eos
  meta_pair:
    seq:
      - id: key
        type: meta_key
      - id: value
        type: meta_value
  hash:
    seq:
      - id: entries
        type: hash_entry
        repeat: eos
  prev:
    doc: "Clause 12.4."
    seq:
      - id: head_length
        type: u2
        doc: "bytes of head"
      - id: head
        size: head_length
        doc: "payload of the preview's HEAD, clause 6"
        type: head
      - id: pass_payload
        size-eos: true
        doc: "Of the preview's PASS chunk, by its HEAD."
  chunk_header:
    doc: "Clause 5.2."
    seq:
      - id: type
        type: u1
        doc: "kind and property bits, clause 5.3"
      - id: length
        type: b24
        doc: "bytes of the payload"
      - id: hcheck
        type: u1
        doc: "CRC-8 of the four bytes before it"
    instances:
      kind:
        value: "type & 0xf"
        enum: chunk_kind
        doc: "Clause 5.3."
      is_last:
        value: "type & 0x10 != 0"
        doc: "Last chunk of the file."
      is_private:
        value: "type & 0x40 != 0"
        doc: "Its meaning is not in the text."
  chunk_trailer:
    doc: "Clause 5.2."
    seq:
      - id: crc32
        type: u4
        doc: "CRC-32 of the chunk, clause 5.2"
  head:
    doc: "Clause 6."
    seq:
      - id: version
        type: u1
        doc: "major << 4 | minor. major 1: else UNSUPPORTED_VERSION"
      - id: profile_level
        type: u1
        doc: "profile << 4 | level. a profile of the registry: else UNSUPPORTED_PROFILE. a level of the registry: else UNSUPPORTED_LEVEL"
      - id: features_required
        type: u2
        doc: "bits of clause 6.1. only features that are known: else UNSUPPORTED_FEATURE"
      - id: features_optional
        type: u1
        doc: "bits of clause 6.6"
      - id: modality
        type: u1
        enum: modality
        doc: "what the signal is. an id of the registry: else UNKNOWN_ID"
      - id: in_dims
        type: u1
        doc: "number of coordinates. 1 to 8: else BAD_DIMENSIONS"
      - id: out_channels
        type: u1
        doc: "number of values. 1 to 255: else BAD_DIMENSIONS"
      - id: coords_values
        type: u1
        doc: "coords | values << 4. bits 0-3 a coords id: else UNKNOWN_ID. bits 4-7 a values id: else UNKNOWN_ID"
      - id: n_passes
        type: u1
        doc: "number of passes. 1 to 255: else BAD_DIMENSIONS"
      - id: grid
        type:
          switch-on: "(features_required & 1) != 0"
          cases:
            true: u4
            false: u2
        doc: "native samples of an axis"
        repeat: expr
        repeat-expr: in_dims
      - id: box
        type: box
        if: "(coords_values & 15) == 15"
      - id: seeded
        type: seeded
        if: "(features_required & 2) != 0"
      - id: n_records
        type: u1
        doc: "number of records. 1 to 255: else BAD_RECORD"
      - id: records
        type: "record(_index == 0 ? 0 : records[_index - 1].n_layer_records)"
        repeat: expr
        repeat-expr: "n_records - 1"
      - id: last_record
        type: last_record
      - id: parts
        type: parts
        if: "(features_required & 32) != 0"
      - id: active_width
        type: u2
        doc: "units of a layer record after the pass"
        repeat: expr
        repeat-expr: "n_records > 1 ? (n_passes - 1) * records.last.n_layer_records : 0"
        if: "(features_required & 64) != 0"
      - id: base_digest
        size: 16
        doc: "names the base, clause 9.8"
        if: "(features_required & 128) != 0"
      - id: optional_blocks
        type: optional_block
        repeat: expr
        repeat-expr: "(features_optional >> 0 & 1) + (features_optional >> 1 & 1) + (features_optional >> 2 & 1) + (features_optional >> 3 & 1) + (features_optional >> 4 & 1) + (features_optional >> 5 & 1) + (features_optional >> 6 & 1) + (features_optional >> 7 & 1)"
  box:
    doc: "Clause 6.1."
    seq:
      - id: low
        type: f4
        doc: "lower edge of the box"
        repeat: expr
        repeat-expr: "_parent.in_dims"
      - id: high
        type: f4
        doc: "upper edge of the box"
        repeat: expr
        repeat-expr: "_parent.in_dims"
  seeded:
    doc: "Clause 6.3."
    seq:
      - id: rng_dictionary
        type: u1
        doc: "rng << 4 | dictionary law. bits 4-7 a generator: else UNKNOWN_ID. bits 0-3 a dictionary law: else UNKNOWN_ID"
      - id: seed
        type:
          switch-on: "(_parent.features_required & 1) != 0"
          cases:
            true: u8
            false: u4
        doc: seed
  record:
    doc: "Clause 6.4."
    seq:
      - id: kind
        type: u1
        enum: record_kind
        doc: "what follows. an id of the registry: else UNKNOWN_ID"
      - id: body
        type:
          switch-on: kind
          cases:
            "record_kind::fourier": fourier_body
            "record_kind::fourier_seeded": fourier_seeded_body
            "record_kind::input": input_body
            "record_kind::output": output_body
            "record_kind::filter": filter_body
            "record_kind::multiply": multiply_body
            "record_kind::grid": grid_body
            "record_kind::pyramid": pyramid_body
            _: layer_body
    params:
      - id: n_before
        type: u2
    instances:
      n_layer_records:
        value: "n_before + (kind.to_i <= 12 ? 1 : 0)"
        doc: "Records of the groups layer and lattice_filter up to this one, for active_width."
  fourier_body:
    seq:
      - id: flags
        type: u1
        doc: "bit 0 input included; bit 1 times pi. bits 0xfc zero: else RESERVED_NOT_ZERO"
      - id: octaves
        type: u1
        doc: "number of frequencies. 1 to 32: else BAD_RECORD"
      - id: base
        type: u1
        doc: "ratio of the frequencies as an integer; 0: a binary32 follows. not 1: else BAD_RECORD"
      - id: base_binary32
        type: f4
        doc: "ratio of the frequencies. above 0, below 2^64, not an integer of 1 to 255: else BAD_FLOAT"
        if: "base == 0"
  fourier_seeded_body:
    seq:
      - id: n_features
        type: u2
        doc: "rows of the Fourier matrix. 1 to 65535: else BAD_RECORD"
      - id: scale
        type: f4
        doc: "factor of the Fourier matrix. above 0, below 2^64: else BAD_FLOAT"
  input_body:
    seq:
      - id: first
        type: u1
        doc: "first axis"
      - id: count
        type: u1
        doc: "number of axes. 1 to 8: else BAD_RECORD"
      - id: encoding
        type: u1
        enum: record_kind
        doc: "0: none; 33: FOURIER. 0 or 33: else UNKNOWN_ID"
      - id: fourier
        type: fourier_body
        if: "encoding.to_i == 33"
  output_body:
    seq:
      - id: kind
        type: u1
        enum: record_kind
        doc: "kind of the layer. an id of the registry: else UNKNOWN_ID. of the group layer, not GABOR: else BAD_RECORD"
      - id: tool_flags
        type: u1
        doc: "bits 0-2 coding tool; bit 3 prior; bit 4 row steps; bit 5 no bias; bit 6 binary16 (tool 0). bits 0x80 zero: else RESERVED_NOT_ZERO. bits 0-2 a tool of the registry: else UNKNOWN_ID"
      - id: width
        type: u1
        doc: "outputs of the layer. 1 to 255: else BAD_RECORD"
      - id: omega
        type: omega
        if: "kind == record_kind::sine or kind == record_kind::gaussian or kind == record_kind::gabor or kind == record_kind::finer or kind == record_kind::filter"
  omega:
    seq:
      - id: omega
        type: u1
        doc: "omega as an integer; 0: a binary32 follows"
      - id: omega_binary32
        type: f4
        doc: "omega. above 0, below 2^64, not an integer of 1 to 255: else BAD_FLOAT"
        if: "omega == 0"
  filter_body:
    seq:
      - id: tool_flags
        type: u1
        doc: "bits 0-2 coding tool; bit 3 prior; bit 4 row steps; bit 5 no bias; bit 6 binary16 (tool 0). bits 0x80 zero: else RESERVED_NOT_ZERO. bits 0-2 a tool of the registry: else UNKNOWN_ID"
      - id: omega
        type: omega
  multiply_body:
    seq:
      - id: layer
        type: u1
        doc: "number of the layer"
  grid_body:
    doc: "Clause 9.6.1."
    seq:
      - id: tool_flags
        type: u1
        doc: "bits 0-2 coding tool; bit 3 prior; bit 4 row steps; bit 5 no bias; bit 6 binary16 (tool 0). bits 0x80 zero: else RESERVED_NOT_ZERO. bits 0-2 a tool of the registry: else UNKNOWN_ID"
      - id: n_axes
        type: u1
        doc: "axes of the grid: the first coordinates. 1 to 4: else BAD_RECORD"
      - id: n_levels
        type: u1
        doc: "number of levels. 1 to 64: else BAD_RECORD"
      - id: latent_dim
        type: u1
        doc: "latents of a vertex. 1 to 255: else BAD_RECORD"
      - id: feature_dim
        type: u1
        doc: "features of a level. 1 to 255: else BAD_RECORD"
      - id: log2_table_size
        type: u1
        doc: "log2 of the most entries of a level. 0 to 30: else BAD_RECORD"
      - id: flags
        type: u1
        doc: "bit 0 levels are summed; bit 1 input appended; bit 2 one resolution for all axes; bit 3 a decoder a level. bits 0xf0 zero: else RESERVED_NOT_ZERO"
      - id: resolutions
        type: u2
        doc: "vertices along an axis. 1 to 65535: else BAD_RECORD"
        repeat: expr
        repeat-expr: "n_levels * ((flags & 4) != 0 ? 1 : n_axes)"
  pyramid_body:
    doc: "Clause 9.6.2."
    seq:
      - id: tool_flags
        type: u1
        doc: "as of a layer. bits 0xa0 zero: else RESERVED_NOT_ZERO. bits 0-2 a tool of the registry: else UNKNOWN_ID"
      - id: n_levels
        type: u1
        doc: "number of levels. 1 to 16: else BAD_RECORD"
      - id: axes
        type: u1
        doc: "bit i: axis i is halved from level to level. 1 to 15: else BAD_RECORD"
      - id: filter
        type: u1
        doc: "bits 0-3 numbers of a filter; bit 4 one filter for all levels. bits 0xe0 zero: else RESERVED_NOT_ZERO. bits 0-3 1 to 8: else BAD_RECORD"
      - id: context
        type: u1
        doc: "bits 0-1 context id; bits 2-3 hidden layers; bits 4-6 width / 4 - 1. bits 0x80 zero: else RESERVED_NOT_ZERO. bits 0-1 a context of the registry: else UNKNOWN_ID. 0 for context 0: else RESERVED_NOT_ZERO"
  layer_body:
    seq:
      - id: tool_flags
        type: u1
        doc: "bits 0-2 coding tool; bit 3 prior; bit 4 row steps; bit 5 no bias; bit 6 binary16 (tool 0). bits 0x80 zero: else RESERVED_NOT_ZERO. bits 0-2 a tool of the registry: else UNKNOWN_ID"
      - id: width
        type: u2
        doc: "outputs of the layer. 1 to 65535: else BAD_RECORD"
      - id: repeat
        type: u1
        doc: "how many such layers follow each other. 1 to 255: else BAD_RECORD"
      - id: omega
        type: omega
        if: "_parent.kind == record_kind::sine or _parent.kind == record_kind::gaussian or _parent.kind == record_kind::gabor or _parent.kind == record_kind::finer or _parent.kind == record_kind::filter"
      - id: scale
        type: f4
        doc: "scale of the Gabor wavelet. above 0, below 2^64: else BAD_FLOAT"
        if: "_parent.kind == record_kind::gabor"
  last_record:
    doc: "Clause 6.4."
    seq:
      - id: kind
        type: u1
        enum: record_kind
        doc: "kind of the last layer. an id of the registry: else UNKNOWN_ID. of the groups layer and lattice_filter, not GABOR: else BAD_RECORD"
      - id: body
        type: last_layer_body
  last_layer_body:
    seq:
      - id: tool_flags
        type: u1
        doc: "bits 0-2 coding tool; bit 3 prior; bit 4 row steps; bit 5 no bias; bit 6 binary16 (tool 0). bits 0x80 zero: else RESERVED_NOT_ZERO. bits 0-2 a tool of the registry: else UNKNOWN_ID"
      - id: omega
        type: omega
        if: "_parent.kind == record_kind::sine or _parent.kind == record_kind::gaussian or _parent.kind == record_kind::gabor or _parent.kind == record_kind::finer or _parent.kind == record_kind::filter"
  parts:
    doc: "Clause 13.1."
    seq:
      - id: split
        type: u2
        doc: "parts along an axis"
        repeat: expr
        repeat-expr: "_parent.in_dims"
      - id: overlap
        type: u2
        doc: "samples that a part has on the other side of its edges"
        repeat: expr
        repeat-expr: "_parent.in_dims"
      - id: shared
        type: u1
        doc: "1: all tensors but the latents are shared. bits 0xfe zero: else RESERVED_NOT_ZERO"
  optional_block:
    doc: "Clause 6.6."
    seq:
      - id: length
        type: u1
        doc: "bytes of the block"
      - id: data
        size: length
        doc: "content, by the feature"
  indx_places:
    seq:
      - id: first
        type: u4
        doc: "number of a PASS chunk"
      - id: offset
        type: u4
        doc: "of its type byte in the file"
      - id: length_bytes
        type: u1
        doc: "bytes of a length. 1 to 4: else BAD_RECORD"
  indx_entry:
    seq:
      - id: first
        type: u4
        doc: "the first PASS chunk that the INDX chunk names"
      - id: offset
        type: u4
        doc: "of the INDX chunk in the file"
      - id: length
        type: u4
        doc: "its bytes, framing included"
  meta_key:
    doc: "Clause 12.2."
    seq:
      - id: length
        type: u1
        doc: "bytes of the key. 1 to 255: else BAD_RECORD"
      - id: key
        size: length
        doc: "UTF-8"
  meta_value:
    doc: "Clause 12.2."
    seq:
      - id: length
        type: u2
        doc: "bytes of the value"
      - id: value
        size: length
        doc: "UTF-8"
  hash_entry:
    doc: "Clause 12.3."
    seq:
      - id: pass_number
        type: u1
        doc: "number of the pass"
      - id: digest
        size: 32
        doc: "weights_sha256 after that pass"
enums:
  chunk_kind:
    1: head_chunk
    2: pass_chunk
    3: indx_chunk
    4: meta_chunk
    5: hash_chunk
    7: prev_chunk
  record_kind:
    1: linear
    2: sine
    3: relu
    4: gaussian
    5: tanh
    6: sigmoid
    7: elu
    8: gabor
    9: finer
    11: conv
    12: conv_relu
    33: fourier
    34: fourier_seeded
    35: grid
    36: pyramid
    64: input
    65: output
    66: filter
    67: multiply
  modality:
    1: image
    2: video
    3: audio
    4: volume
    5: sdf
    6: occupancy
    7: radiance
    8: field
  coding:
    0: packed
    1: rans
    2: zlib
    3: brotli
    4: zstandard
  indx_kind:
    0: places
    1: directory
