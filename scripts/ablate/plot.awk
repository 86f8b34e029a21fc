# Curves as SVG: reads lines of NAME<TAB>tokens<TAB>loss, writes one line for each name over a logarithmic axis of tokens.
BEGIN {
    FS = "\t"; width = 900; height = 560; left = 60; right = 250; top = 20; bottom = 50
    n_colours = split("#1f77b4 #d62728 #2ca02c #ff7f0e #9467bd #8c564b #e377c2 #17becf #bcbd22 #7f7f7f", colours, " ")
    low = 1e30; high = -1e30; first = 1e30; last = -1e30
}
NF == 3 && $2 > 0 {
    if ($3 > 15) $3 = 15 # a run that diverges leaves room for the others
    if (!($1 in count)) names[++n_names] = $1
    i = ++count[$1]; x[$1, i] = log($2); y[$1, i] = $3
    if ($3 < low) low = $3
    if ($3 > high) high = $3
    if (log($2) < first) first = log($2)
    if (log($2) > last) last = log($2)
}
function across(v) { return left + (width - left - right) * (v - first) / (last - first) }
function down(v) { return top + (height - top - bottom) * (high - v) / (high - low) }
function text(at_x, at_y, anchor, words) {
    printf "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">%s</text>\n", at_x, at_y, anchor, words
}
function tick_label(tokens) { return tokens >= 1e6 ? tokens / 1e6 "M" : tokens >= 1e3 ? tokens / 1e3 "k" : tokens }
END {
    if (last <= first) { last = first + 1 }
    low = int(low * 4) / 4; high = (int(high * 4) + 1) / 4
    printf "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" font-family=\"sans-serif\" font-size=\"13\">\n", width, height
    printf "<rect width=\"%d\" height=\"%d\" fill=\"white\"/>\n", width, height
    step = high - low > 3 ? 0.5 : 0.25
    for (v = low; v <= high + 1e-9; v += step) {
        printf "<path d=\"M%.1f %.1fH%.1f\" stroke=\"#ddd\"/>\n", left, down(v), width - right
        text(left - 6, down(v) + 4, "end", sprintf("%.2f", v))
    }
    for (decade = 1; decade < 1e13; decade *= 10) for (k = 1; k <= 5; k += k == 1 ? 1 : 3) {
        v = log(decade * k)
        if (n_names && v >= first && v <= last) {
            printf "<path d=\"M%.1f %.1fV%.1f\" stroke=\"#ddd\"/>\n", across(v), top, height - bottom
            text(across(v), height - bottom + 18, "middle", tick_label(decade * k))
        }
    }
    text((left + width - right) / 2, height - 10, "middle", "tokens")
    printf "<text transform=\"translate(16 %d) rotate(-90)\" text-anchor=\"middle\">held-out masked loss, nats</text>\n", (top + height - bottom) / 2
    for (i = 1; i <= n_names; i++) {
        name = names[i]; colour = colours[(i - 1) % n_colours + 1]
        dash = i > n_colours ? " stroke-dasharray=\"6 3\"" : ""
        printf "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"2\"%s points=\"", colour, dash
        for (k = 1; k <= count[name]; k++) printf "%.1f,%.1f ", across(x[name, k]), down(y[name, k])
        printf "\"/>\n"
        printf "<path d=\"M%d %dh24\" stroke=\"%s\" stroke-width=\"2\"%s/>\n", width - right + 16, top + 14 + 19 * i, colour, dash
        text(width - right + 46, top + 18 + 19 * i, "start", sprintf("%s  %.3f", name, y[name, count[name]]))
    }
    print "</svg>"
}
